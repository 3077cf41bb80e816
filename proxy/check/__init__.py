"""`standby check`: policies and their tests, looked at before they are in force."""
