"""The store of several managers, in etcd: it orders the commits, and refuses those of who does not lead any more."""
