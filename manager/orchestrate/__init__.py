"""The orchestrators decide which tasks there should be, and the desired state of each. Pure.

`manager.loops.orchestration` runs them. `reconcile.services` decides a service: its mode in `reconcile.modes` or
`jobs`, its slots one by one in `reconcile.slot_reconciler`, its changes of specification in `update.rolling`.
`housekeeping` decides what a node may keep, what becomes of lost nodes' tasks, and which records are removed. All are
level-triggered: they look at the state, never at what happened.
"""
