package config

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzLoad holds that any text is either refused as Problems, or is a
// configuration that Print writes in a form that loads and prints the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("streams:\n  main:\n    hot: \"a==1 GB\"\n"))
	f.Add([]byte("? [a\n: &b *b"))
	f.Add([]byte("data: |\n  x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f", text)
		if err != nil {
			var p Problems
			if !errors.As(err, &p) || len(p) == 0 {
				t.Fatalf("%T instead of Problems: %v", err, err)
			}
			return
		}
		var first, second bytes.Buffer
		if err := c.Print(&first); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("f", first.Bytes())
		if err != nil {
			t.Fatalf("%v in its own print\n%s", err, &first)
		}
		if err := again.Print(&second); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("printed\n%s\nand loaded, it prints as\n%s", &first, &second)
		}
	})
}
