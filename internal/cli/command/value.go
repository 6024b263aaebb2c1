package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxEcho is how much of a value that is refused is shown again.
const maxEcho = 60

// JSONOrText returns a value that was typed: JSON, or text. What begins as JSON does, with
// a brace, bracket or quote, and is none was not meant as text.
func JSONOrText(typed string) (json.RawMessage, error) {
	if !utf8.ValidString(typed) {
		return nil, Usage(fmt.Errorf("the value: %w", ErrNotText))
	}
	var v json.RawMessage
	err := json.Unmarshal([]byte(typed), &v)
	if err == nil {
		return json.RawMessage(typed), nil
	}
	quoted, _ := json.Marshal(typed) // text is a value too
	if begin := strings.TrimSpace(typed); begin == "" || !strings.ContainsRune("{[\"", rune(begin[0])) {
		return quoted, nil
	}
	how := "give it in quotes, as a JSON string"
	if len(typed) <= maxEcho && !strings.Contains(typed, "'") {
		how = fmt.Sprintf("quote it: '%s'", quoted)
	}
	return nil, Usage(fmt.Errorf("the value begins like JSON, and is none: %w; if text is meant, %s", err, how))
}

// TypedValue reads VALUE, or standard input for -.
func TypedValue(arg string) (json.RawMessage, error) {
	if arg != "-" {
		return JSONOrText(arg)
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 8<<20))
	if err != nil {
		return nil, err
	}
	return JSONOrText(string(text))
}

// WholeNumber refuses what is no whole number, by the name of the argument.
func WholeNumber(name, arg string) error {
	if _, err := strconv.ParseInt(arg, 10, 64); err != nil || !json.Valid([]byte(arg)) {
		return Usage(fmt.Errorf("%s %q: want a whole number within 64 bits", name, arg))
	}
	return nil
}

// AnyNumber refuses what is no number, by the name of the argument.
func AnyNumber(name, arg string) error {
	if _, err := strconv.ParseFloat(arg, 64); err != nil || !json.Valid([]byte(arg)) {
		return Usage(fmt.Errorf("%s %q: want a number", name, arg))
	}
	return nil
}
