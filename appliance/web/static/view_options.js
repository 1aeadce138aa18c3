/* How the picture is shown, by two switches over it that this browser remembers: #show-boxes and #mirror. */

const SWITCHES = [
  { id: "show-boxes", key: "interview-grader.boxes", usual: true },
  { id: "mirror", key: "interview-grader.mirror", usual: false },
];

// The storage may be switched off, or full.
function remembered(key, usual) {
  try {
    return (localStorage.getItem(key) ?? String(usual)) === "true";
  } catch {
    return usual;
  }
}

function remember(key, on) {
  try {
    localStorage.setItem(key, String(on));
  } catch {
    // it holds until the page is left
  }
}

/** Connect the switches; `change({ boxes, mirrored })` is called now and after each press.
 *
 * `mirror`: how this page's mirror is remembered, and what it is at first. */
export function connectViewOptions(change, mirror = {}) {
  const switches = SWITCHES.map((each) => (each.id === "mirror" ? { ...each, ...mirror } : each));
  const states = switches.map(({ key, usual }) => remembered(key, usual));
  const apply = () => {
    switches.forEach(({ id }, index) => {
      document.getElementById(id).setAttribute("aria-pressed", String(states[index]));
    });
    change({ boxes: states[0], mirrored: states[1] });
  };
  switches.forEach(({ id, key }, index) => {
    document.getElementById(id).addEventListener("click", () => {
      states[index] = !states[index];
      remember(key, states[index]);
      apply();
    });
  });
  apply();
}
