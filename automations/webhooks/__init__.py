"""Send outgoing webhooks by Standard Webhooks 1.0.0, and keep what became of each.

docs/decisions/webhooks.md tells why. Incoming webhooks are in crm/webhooks.py.
"""
