// Package wire is the front door for bytes: it walks msgpack within bounds
// before anything is decoded, reads and writes its primitives without
// allocating, and gives values one canonical form.
//
// A frame from the network passes [Check] once: depth, element counts against
// the bytes that are left, and a budget of nodes. Then a [Reader] walks it; what
// it returns aliases the input. Values of users' Go types go through [AppendValue]
// and [Unmarshal], which leave reflection to vmihailenco/msgpack.
//
// Canonical form: one value, one byte string. Integers take the shortest form;
// floats with an integral value below 2^53 become integers, so 1.0 is 1, but for -0,
// which stays a float and comes beside 0; other floats take 64 bits; NaN and infinities do not exist; map keys are
// strings, sorted, unique; strings are UTF-8; there are no extension types.
//
// Invariants:
//
//	I1  Nothing here panics on any input.
//	I2  A length or count in the input allocates nothing before the bytes behind it arrived.
//	I3  Two canonical byte strings are equal exactly when their values are.
package wire
