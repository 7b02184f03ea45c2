"""The calls themselves, a file per area: each method is one call of the vendor's reference, typed in, typed out."""
