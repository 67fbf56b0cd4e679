class W {}
