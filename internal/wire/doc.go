// Package wire reads and writes msgpack: it checks bytes from the network against bounds
// before anything is decoded, reads and writes primitives without allocating, and gives
// values one canonical form.
//
// A frame from the network passes [Check] once: depth, element counts against
// the bytes that are left, and a budget of nodes. Then a [Reader] walks it; what
// it returns aliases the input. Values of users' Go types go through [AppendValue]
// and [Unmarshal], which leave reflection to vmihailenco/msgpack.
//
// In canonical form each value has exactly one byte string. Integers take the shortest form.
// Floats with an integral value below 2^53 become integers, so 1.0 is 1; only -0 stays a
// float, which differs from 0. Other floats take 64 bits. NaN and infinities are refused. Map
// keys are strings, sorted and unique. Strings are UTF-8. There are no extension types.
//
// Invariants:
//
//	I1  Nothing here panics on any input.
//	I2  A length or count in the input allocates nothing before the bytes behind it arrived.
//	I3  Two canonical byte strings are equal exactly when their values are.
package wire
