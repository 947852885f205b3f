"""Start steps when something happens to contacts. `start` is the API for Python."""


def start(contact_id: int, automation_id: int) -> str:
    """Start a contact by hand, whatever the trigger, in a transaction of its own or the caller's.

    Conditions, the status and the rule of re-entry count as for others.

    Args:
        contact_id: id of the contact.
        automation_id: id of a published automation.

    Returns:
        "started", or why not: "inside", "before", "conditions", "status", "loop", "error", or
        "unknown" if there is no such contact.

    Raises:
        config.api.errors.Unprocessable: the automation does not exist, or is not published.
    """
    # Models cannot be imported while Django imports its apps.
    from automations.starting import start_contacts

    return start_contacts([contact_id], automation_id).get(contact_id, "unknown")
