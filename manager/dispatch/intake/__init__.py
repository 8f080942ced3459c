"""Validation rules: what may be used of a worker's message, given the node that sent it. Pure.

`messages.validate` returns a message with its valid parts only; the rest is named in refusals. Every struct that a
worker can send has a `Form` with a rule for each field: a form that lacks one cannot be imported. Only
`manager.dispatch.validator` calls this, before anything else sees the message.
"""
