// Package ordered lists the members of a set in their order, for a set whose owner must not pay
// for that order.
//
// The owner only notes which members came and went since somebody last listed the set, and who
// lists it next sorts them in. So a new member costs the owner one append, and a listing costs the
// members that it lists and those that came since the listing before. Until somebody lists the
// set for the first time, and again when more has changed than an eighth of the members,
// nothing is noted, and the next listing sorts all members.
package ordered
