// Hello is a program whose coverage a test collects.
package main

import "fmt"

func main() { fmt.Println("hello") }
