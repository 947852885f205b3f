"""ActiveCampaign's endpoints, version 3, of contacts, labels, custom fields and the user."""
