"""Images, and which of them are kept. By a generator, while it trains and from its folder."""
