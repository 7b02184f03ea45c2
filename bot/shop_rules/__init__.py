"""The rules that the shop changes while everything runs: how each is written, its versions, and who follows them."""
