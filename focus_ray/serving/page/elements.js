// Finds and creates elements of the page.

export const byId = (id) => document.getElementById(id);

export const made = (kind, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
};

export const percent = (share) => `${Math.round(100 * share)} %`;
