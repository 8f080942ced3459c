"""What asyncio leaves to its users: back-off, loops that survive an error, work shared by those who wait for it."""
