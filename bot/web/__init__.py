"""What browsers and machines ask of the service over HTTP."""
