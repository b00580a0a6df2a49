"""Charts. Every number they show comes from values."""
