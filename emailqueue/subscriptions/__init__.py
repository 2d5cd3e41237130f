"""How an address leaves the mails of a subscribed type."""
