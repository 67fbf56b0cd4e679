FROM debian
ENV a b c
ENV k=v
ENV a="x y" b='p q' c=r\ s d= e=""
ENV z "q w"
ENV u=a=b
ENV q="a\"b" r='\'
