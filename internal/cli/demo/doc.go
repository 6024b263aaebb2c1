// Package demo is the demo command: three peers share state, lose each other, die and agree.
package demo
