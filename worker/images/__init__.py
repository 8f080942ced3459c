"""Images: those the engine has, fetched from other workers, served to them."""
