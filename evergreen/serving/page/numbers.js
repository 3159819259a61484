// How numbers, names and times are written.

const MINUS = "\u2212";

export function number(value, digits = 4) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
    return value.toExponential(digits - 1).replace("-", MINUS);
  }
  // Digits before the point are never rounded away.
  const whole = size >= 1 ? Math.floor(Math.log10(size)) + 1 : 1;
  const format = new Intl.NumberFormat("en", {
    maximumSignificantDigits: Math.min(Math.max(digits, whole), 15),
  });
  return format.format(value).replace("-", MINUS);
}

/** With its sign, and as many decimals as the largest of its kind needs. */
export function signed(value, largest) {
  const decimals = Math.min(Math.max(2 - Math.floor(Math.log10(largest)), 0), 9);
  const text = new Intl.NumberFormat("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
    signDisplay: "exceptZero",
  }).format(value);
  return text.replace("-", MINUS);
}

export function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1%";
  if (share < 1 && share > 0.999) return ">99.9%";
  return `${(100 * share).toFixed(1)}%`;
}

export function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** "total_phenols" reads better as "total phenols". */
export function words(name) {
  return name.replaceAll("_", " ").trim() || name;
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count, 9)} ${count === 1 ? one : many}`;
}

export function day(iso) {
  return new Date(iso).toLocaleDateString("en-GB", {
    day: "numeric",
    month: "long",
    year: "numeric",
  });
}
