// An independent implementation for the tests: golang.org/x/mod/sumdb (note, tlog), that of Go's own checksum database.
// Reads one request from standard input, answers on standard output; both JSON.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Of, Size int64
	Hashes   [][]byte
}

type request struct {
	Note        []byte   // to verify, by all of Keys
	Keys        []string // verifier keys
	Name, Text  string   // to sign, by a key made here
	Leaves      [][]byte
	Inclusion   []proof // to verify
	Consistency []proof
}

type answer struct {
	Text        string // of the note that verified
	Signatures  int
	Note        []byte // signed here
	Key         string
	Roots       [][]byte // of the sizes from 1 on
	Inclusion   []proof  // all there are
	Consistency []proof
	Errors      []string
}

type store []tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, at := range indexes {
		found = append(found, s[at])
	}
	return found, nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func hashes(of [][]byte) []tlog.Hash {
	var found []tlog.Hash
	for _, each := range of {
		var hash tlog.Hash
		copy(hash[:], each)
		found = append(found, hash)
	}
	return found
}

func plain(of []tlog.Hash) [][]byte {
	found := [][]byte{}
	for _, each := range of {
		found = append(found, append([]byte{}, each[:]...))
	}
	return found
}

// A witness, C2SP tlog-cosignature, type 0x04: the library knows no such key, but takes any that verifies.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 72 {
		return false
	}
	said := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(w.key, []byte(said), signature[8:])
}

func verifier(key string) note.Verifier {
	if parts := strings.SplitN(key, "+", 3); len(parts) == 3 {
		data, err := base64.StdEncoding.DecodeString(parts[2])
		must(err)
		if len(data) == 33 && data[0] == 4 {
			sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
			return witness{parts[0], binary.BigEndian.Uint32(sum[:]), data[1:]}
		}
	}
	known, err := note.NewVerifier(key)
	must(err)
	return known
}

func notes(ask request, say *answer) {
	if ask.Text != "" {
		secret, key, err := note.GenerateKey(rand.Reader, ask.Name)
		must(err)
		signer, err := note.NewSigner(secret)
		must(err)
		say.Key = key
		say.Note, err = note.Sign(&note.Note{Text: ask.Text}, signer)
		must(err)
	}
	if ask.Note == nil {
		return
	}
	var known []note.Verifier
	for _, key := range ask.Keys {
		known = append(known, verifier(key))
	}
	opened, err := note.Open(ask.Note, note.VerifierList(known...))
	if err != nil {
		say.Errors = append(say.Errors, err.Error())
		return
	}
	say.Text, say.Signatures = opened.Text, len(opened.Sigs)
}

func tree(ask request, say *answer) {
	var kept store
	var leaves []tlog.Hash
	for at, data := range ask.Leaves {
		more, err := tlog.StoredHashes(int64(at), data, kept)
		must(err)
		kept = append(kept, more...)
		leaves = append(leaves, tlog.RecordHash(data))
	}
	roots := make([]tlog.Hash, len(leaves)+1)
	for size := int64(1); size <= int64(len(leaves)); size++ {
		root, err := tlog.TreeHash(size, kept)
		must(err)
		roots[size] = root
		for of := int64(0); of < size; of++ {
			found, err := tlog.ProveRecord(size, of, kept)
			must(err)
			say.Inclusion = append(say.Inclusion, proof{of, size, plain(found)})
			older, err := tlog.ProveTree(size, of+1, kept)
			must(err)
			say.Consistency = append(say.Consistency, proof{of + 1, size, plain(older)})
		}
	}
	say.Roots = plain(roots[1:])
	for _, each := range ask.Inclusion {
		if err := tlog.CheckRecord(hashes(each.Hashes), each.Size, roots[each.Size], each.Of, leaves[each.Of]); err != nil {
			say.Errors = append(say.Errors, fmt.Sprintf("inclusion %d in %d: %v", each.Of, each.Size, err))
		}
	}
	for _, each := range ask.Consistency {
		if err := tlog.CheckTree(hashes(each.Hashes), each.Size, roots[each.Size], each.Of, roots[each.Of]); err != nil {
			say.Errors = append(say.Errors, fmt.Sprintf("consistency %d to %d: %v", each.Of, each.Size, err))
		}
	}
}

func main() {
	var ask request
	var say answer
	must(json.NewDecoder(os.Stdin).Decode(&ask))
	notes(ask, &say)
	tree(ask, &say)
	must(json.NewEncoder(os.Stdout).Encode(say))
}
