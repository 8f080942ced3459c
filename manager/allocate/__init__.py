"""The allocator: subnets, leases, node numbers, virtual addresses and published ports. `loops.allocation` runs it.

It is pure. Nothing is counted or remembered apart from the store's objects: what is in use is what they say. So an
address cannot leak, and it is free again when its holder's record goes.
"""
