// Comma-separated values as RFC 4180 has them.
const field = value => {
  const text = value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Header and rows as text; what is missing is empty. */
export const csv = (header, rows) => [header, ...rows].map(row => row.map(field).join(",")).join("\n") + "\n";
