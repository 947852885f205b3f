"""Describe the requests and the message envelopes of the endpoints of contacts in OpenAPI.

Rows, pages and query parameters follow from serializers, pagination and filter backends.
"""
