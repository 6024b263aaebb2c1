package api

// Nearest returns the name to which word has the least distance, at most a third of the length of
// word and at most 3; "" if there is none.
func Nearest(word string, names []string) (best string) {
	distance := min(3, len(word)/3) + 1
	for _, name := range names {
		if d := edits(word, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// edits returns the Levenshtein distance of two words in bytes. No library is used: the
// time of 2 µs matters in no error, and the algorithm is these few lines.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
