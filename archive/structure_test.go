package archive

import "testing"

// TestUnique knows indexes as the engines write them.
func TestUnique(t *testing.T) {
	for index, want := range map[string]bool{
		"PRIMARY KEY (id) UNIQUE INDEX USING btree (id)":           true,
		`UNIQUE ("id") UNIQUE INDEX USING btree ("id")`:            true,
		"UNIQUE INDEX USING btree (id)":                            true,
		"PRIMARY KEY (id)":                                         true,
		"UNIQUE (id)":                                              true,
		"PRIMARY KEY (id BINARY)":                                  true,
		"UNIQUE INDEX  (id BINARY)":                                true,
		"INDEX USING btree (id)":                                   false,
		"INDEX (id)":                                               false,
		"INDEX  (id BINARY)":                                       false,
		"PRIMARY KEY (id, b)":                                      false,
		"UNIQUE (id BINARY, b BINARY)":                             false,
		"UNIQUE INDEX USING btree (id) WHERE (id > 5)":             false,
		"UNIQUE INDEX WHERE id > 5 (id BINARY)":                    false,
		"UNIQUE INDEX USING btree (abs(id))":                       false,
		"UNIQUE (id(4))":                                           false,
		"UNIQUE (other)":                                           false,
		"UNIQUE (id DESC BINARY)":                                  false,
		"PRIMARY KEY (other) UNIQUE INDEX USING btree (other, id)": false,
	} {
		if got := (Structure{Indexes: []string{index}}).Unique("id"); got != want {
			t.Errorf("%s: got %v", index, got)
		}
	}
}
