"""Downloads that survive a kill: what a manifest needs, fetched, verified and unpacked; whole, or not there at all."""
