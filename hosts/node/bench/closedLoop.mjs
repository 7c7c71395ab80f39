// A closed loop: so many requests are in flight all the time.

/** Sends `requests` one after another in `lanes` lanes, or as long as `goesOn()` says; tells `onDone` of each. */
export async function closedLoop(lanes, goesOn, ask) {
  let next = 0;
  const lane = async () => {
    while (goesOn(next)) await ask(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return next;
}

/** The value below which a part of the sorted values lies. */
export function quantile(values, part) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}
