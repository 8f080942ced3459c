"""Published ports, kept from other programs and answered at ::1."""
