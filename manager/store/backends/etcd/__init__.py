"""The store of several managers, in etcd, which orders commits and refuses those of a deposed leader."""
