// What is remembered between visits.

export const memory = (() => {
  try {
    return JSON.parse(localStorage.getItem('trackyard')) ?? {};
  } catch {
    return {};
  }
})();

export function remember(values) {
  Object.assign(memory, values);
  try {
    localStorage.setItem('trackyard', JSON.stringify(memory));
  } catch {
    // A browser that keeps nothing only forgets.
  }
}
