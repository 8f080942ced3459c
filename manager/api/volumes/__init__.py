"""/volumes: the volumes of all nodes, and the slots of services whose data is in them."""
