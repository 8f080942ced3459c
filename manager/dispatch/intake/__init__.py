"""The one door: what a worker says, turned into what may be believed of it, for this very node. Pure.

`messages.believe` takes a message and returns it with nothing in it but what holds; the rest is named in refusals.
Every struct that a worker can send has a `Form` with a rule for each of its fields: one with a field that has none
cannot be loaded. `manager.dispatch.door` calls this, and nothing else sees a worker's message before.
"""
