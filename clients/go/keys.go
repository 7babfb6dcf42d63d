package freshet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Key is the texts of a key's columns.
type Key []string

// Columns makes a key of texts, integers, booleans, and what has a String method, as UUIDs do.
func Columns(columns ...any) Key {
	key := make(Key, len(columns))
	for i, column := range columns {
		text, ok := columnText(column)
		if !ok {
			// No Unicode text: such a key is refused before it is sent.
			text = "\xff"
		}
		key[i] = text
	}
	return key
}

func columnText(column any) (string, bool) {
	if named, ok := column.(fmt.Stringer); ok {
		return named.String(), true
	}
	switch value := reflect.ValueOf(column); value.Kind() {
	case reflect.String:
		return value.String(), true
	case reflect.Bool:
		return strconv.FormatBool(value.Bool()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(value.Int(), 10), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(value.Uint(), 10), true
	}
	return "", false
}

// path is the key's path, one segment per column.
func (k Key) path(cache string) (string, bool) {
	var path strings.Builder
	path.WriteString("/v1/")
	escape(&path, cache)
	for i, column := range k {
		if !utf8.ValidString(column) {
			return "", false
		}
		path.WriteByte('/')
		if i == 0 && strings.HasPrefix(column, "_") {
			path.WriteString("%5F")
			column = column[1:]
		}
		escape(&path, column)
	}
	return path.String(), utf8.ValidString(cache)
}

func escape(path *strings.Builder, text string) {
	for _, b := range []byte(text) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~", b) >= 0:
			path.WriteByte(b)
		default:
			fmt.Fprintf(path, "%%%02X", b)
		}
	}
}

// Table is a dependency on all of a table, by the name that the binding has: inventory.product.
func Table(name string) string { return escaped(name) }

// Row is a dependency on a row, by its key's columns in the order of the table's change events.
func Row(table string, columns ...any) string {
	item := escaped(table)
	for _, column := range Columns(columns...) {
		item += "/" + escaped(column)
	}
	return item
}

// Tag is a dependency on what InvalidateTag says.
func Tag(text string) string { return "tag:" + escaped(text) }

func escaped(text string) string {
	var path strings.Builder
	escape(&path, text)
	return path.String()
}

// QueryKey is the key of a whole query: q- and 32 hexadecimal digits, alike in all of Freshet's clients. Parameters are
// texts, integers of 64 bits with a sign, booleans and nil; the error is of any other.
func QueryKey(text string, params ...any) (string, error) {
	canonical, err := quoted([]byte("["), text)
	if err != nil {
		return "", err
	}
	for _, param := range params {
		canonical = append(canonical, ',')
		if canonical, err = literal(canonical, param); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256(append(canonical, ']'))
	return "q-" + hex.EncodeToString(sum[:16]), nil
}

func literal(canonical []byte, param any) ([]byte, error) {
	if param == nil {
		return append(canonical, "null"...), nil
	}
	switch value := reflect.ValueOf(param); value.Kind() {
	case reflect.String:
		return quoted(canonical, value.String())
	case reflect.Bool:
		return strconv.AppendBool(canonical, value.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(canonical, value.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if value.Uint() <= 1<<63-1 {
			return strconv.AppendUint(canonical, value.Uint(), 10), nil
		}
	}
	return nil, fmt.Errorf("a query's parameters are texts, integers of 64 bits, booleans and nil, not %T %v", param, param)
}

// quoted is a JSON string as RFC 8785 has it: encoding/json escapes more.
func quoted(canonical []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("a query's texts are UTF-8, unlike %q", text)
	}
	short := map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`}
	canonical = append(canonical, '"')
	for _, b := range []byte(text) {
		if escaped, ok := short[b]; ok {
			canonical = append(canonical, escaped...)
		} else if b < ' ' {
			canonical = fmt.Appendf(canonical, `\u%04x`, b)
		} else {
			canonical = append(canonical, b)
		}
	}
	return append(canonical, '"'), nil
}
