"""The scheduler: which node each pending task runs on. Pure; `manager.loops.scheduling` runs it."""
