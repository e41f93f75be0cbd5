"""Whether a page freezes: the longest time between two frames, in `window.longest` (ms)."""

LONGEST_FRAME_MS = 1_000
"""On a busy machine of two cores, with room to spare."""
WATCH_FRAMES = """() => {
  let before = performance.now();
  window.longest = 0;
  const frame = (now) => {
    window.longest = Math.max(window.longest, now - before);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
