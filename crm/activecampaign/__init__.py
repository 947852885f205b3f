"""Contacts, labels and custom fields as ActiveCampaign's API has them, versions 3 and 1."""
