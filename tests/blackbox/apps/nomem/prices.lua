return { fee = 3 }
