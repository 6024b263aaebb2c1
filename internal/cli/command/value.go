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

// maxEcho is how many bytes of a refused value an error repeats.
const maxEcho = 60

// JSONOrText returns a typed value as JSON. Text that is not JSON becomes a JSON string, unless
// it begins with a brace, bracket or quote: then JSON was probably meant, and it is refused.
func JSONOrText(typed string) (json.RawMessage, error) {
	if !utf8.ValidString(typed) {
		return nil, Usage(fmt.Errorf("the value: %w", ErrNotText))
	}
	var v json.RawMessage
	err := json.Unmarshal([]byte(typed), &v)
	if err == nil {
		return json.RawMessage(typed), nil
	}
	quoted, _ := json.Marshal(typed) // a string always has a JSON form
	if begin := strings.TrimSpace(typed); begin == "" || !strings.ContainsRune("{[\"", rune(begin[0])) {
		return quoted, nil
	}
	how := "give it in quotes, as a JSON string"
	if len(typed) <= maxEcho && !strings.Contains(typed, "'") {
		how = fmt.Sprintf("quote it: '%s'", quoted)
	}
	return nil, Usage(fmt.Errorf("the value begins like JSON but is not valid: %w; if text is meant, %s", err, how))
}

// TypedValue returns the value of an argument, or of standard input (up to 8 MiB) for "-".
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

// WholeNumber refuses an argument that is not a whole number.
func WholeNumber(name, arg string) error {
	if _, err := strconv.ParseInt(arg, 10, 64); err != nil || !json.Valid([]byte(arg)) {
		return Usage(fmt.Errorf("%s %q: want a whole number within 64 bits", name, arg))
	}
	return nil
}

// AnyNumber refuses an argument that is not a number.
func AnyNumber(name, arg string) error {
	if _, err := strconv.ParseFloat(arg, 64); err != nil || !json.Valid([]byte(arg)) {
		return Usage(fmt.Errorf("%s %q: want a number", name, arg))
	}
	return nil
}
