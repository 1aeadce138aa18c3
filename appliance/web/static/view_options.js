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

/** Connect the switches; `change({ boxes, mirrored })` is called now and after each press. */
export function connectViewOptions(change) {
  const states = SWITCHES.map(({ key, usual }) => remembered(key, usual));
  const apply = () => {
    SWITCHES.forEach(({ id }, index) => {
      document.getElementById(id).setAttribute("aria-pressed", String(states[index]));
    });
    change({ boxes: states[0], mirrored: states[1] });
  };
  SWITCHES.forEach(({ id, key }, index) => {
    document.getElementById(id).addEventListener("click", () => {
      states[index] = !states[index];
      remember(key, states[index]);
      apply();
    });
  });
  apply();
}
