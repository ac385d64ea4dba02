// Owns the bar of done and failed items.

type Items = { readonly total: number; readonly done: number; readonly failed: number };

export function Progress({ items: { total, done, failed }, label }: { items: Items; label: string }) {
  const toWidth = (count: number) => `${total === 0 ? 0 : (100 * count) / total}%`;
  return (
    <span
      className="progress"
      role="progressbar"
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={done}
      aria-label={label}
    >
      <span className="done" style={{ width: toWidth(done) }} />
      <span className="failed" style={{ width: toWidth(failed) }} />
    </span>
  );
}
