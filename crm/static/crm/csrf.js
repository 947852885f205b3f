// The token that Django asks for with each POST.

const COOKIE = /(?:^|; )tallybook_csrftoken=(\w+)/;

// Returns the token of a form, which becomes that of the cookie: a login in another tab changes it.
export function csrfToken(form) {
  const field = form.elements.csrfmiddlewaretoken;
  field.value = COOKIE.exec(document.cookie)?.[1] ?? field.value;
  return field.value;
}
