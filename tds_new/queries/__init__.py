"""The only reader of readings. Every function takes a Conta, or objects that were looked up within one: never an id of a request."""
