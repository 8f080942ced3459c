"""The orchestrators: which tasks there should be, and what is wanted of each.

Pure; `manager.loops.orchestration` runs them.

`services` decides a service (its mode in `replicated` and `globals`, its slots one by one in `upkeep`, its changes of
specification in `rollout`), `housekeeping` what a node may keep, what becomes of lost nodes' tasks, and which records
go. All are level-triggered: they look at what is, never at what happened.
"""
