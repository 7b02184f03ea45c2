"""The demo shop 毛球小铺: the data it is seeded with. `faq.csv` is its knowledge base, in the format shops import."""
