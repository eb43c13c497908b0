package bench

import "slices"

// comparisons returns every case that needs nothing from outside.
func comparisons() []comparison {
	return slices.Concat(appendCases(), libraryCases(), wireCases(), httpCases(), loadCases(), indexCases())
}
